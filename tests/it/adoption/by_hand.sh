# A server as somebody set it up by hand: thirty accounts in five ways, twenty cron entries, ten logrotate rules, five
# repositories. The state that says the same is printed.
cd /srv
mkdir -p /root/keys /srv/repositories /etc/rlvm/secrets clients
chmod 0700 /etc/rlvm/secrets
echo secret > /etc/rlvm/secrets/pass
chmod 0600 /etc/rlvm/secrets/pass
cat <<STATE
directories: { /srv/clients: { mode: "0755" } }
ssh:
  users:
STATE
for n in $(seq 30); do
    name=client$n home=/srv/clients/client$n shell=/bin/sh access=append_only group=--user-group mode=0755 owner=root
    command="rclone serve restic --stdio --append-only $home/repo"
    case $((n % 5)) in
    1) access=sftp shell=/usr/sbin/nologin command=internal-sftp ;;
    # At home elsewhere, with another shell; only files.
    2) access=sftp shell=/bin/bash command=internal-sftp home=/home/$name ;;
    # A home of its own, which nobody else could look into.
    3) mode=0700 owner=$name ;;
    4) shell=/bin/bash group="--no-user-group --gid users" ;;
    esac
    useradd --uid $((2000 + n)) --password '*' --no-create-home --home-dir $home --shell $shell $group $name
    install -d -m 0755 /srv/clients/$name
    install -d -m $mode -o $owner $home
    install -d -m 0700 -o $name -g $(id -gn $name) /srv/clients/$name/repo
    install -d -m 0700 -o $name -g $(id -gn $name) $home/.ssh
    ssh-keygen -q -t ed25519 -N '' -C root@$name -f /root/keys/$name
    echo "command=\"$command\",restrict $(cat /root/keys/$name.pub)" > $home/.ssh/authorized_keys
    chown $name $home/.ssh/authorized_keys
    chmod 0600 $home/.ssh/authorized_keys
    echo "    $name: { directory: /srv/clients/$name, access: $access, authorized_keys: [{ key: $(cat /root/keys/$name.pub) }] }"
done
echo cron:
for n in $(seq 20); do
    file=/etc/cron.d/task$n
    # A quarter as rlvm would have written it.
    if [ $((n % 4)) = 0 ]; then
        echo "# cron entry task$n of nas; made by rlvm, which puts back what is changed by hand."
        echo SHELL=/bin/sh
        echo PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        echo "$n 3 * * * root /bin/true $n"
    else
        echo "# by hand"
        echo "$n 3 * * *  root  /bin/true $n"
    fi > $file
    echo "  task$n: { schedule: \"$n 3 * * *\", command: /bin/true $n }"
done
echo logrotate:
for n in $(seq 10); do
    printf '/var/log/app%s/*.log {\n  weekly\n  rotate 4\n}\n' $n > /etc/logrotate.d/app$n
    echo "  app$n: { paths: [/var/log/app$n/*.log], frequency: weekly, keep: 4 }"
done
echo destinations:
for n in $(seq 5); do
    install -d -m 0700 repositories/r$n
    echo "  r$n: { local: { path: /srv/repositories/r$n }, password_file: /etc/rlvm/secrets/pass }"
done
