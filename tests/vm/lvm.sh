#!/bin/sh
# Moves a standard test machine onto logical volumes: runs in it once, as root (tests/it/vm/asleep.rs). Afterwards
# /dev/vda, which it runs from, is left away, and the others move up by one.
#
#   /dev/vdb   vg0: root (/, ext4), srv (/srv, ext4), deep (/srv/data/deep, ext4), home (/home, XFS, thin in pool);
#              the rest is free
#   /dev/vdc   one partition: /data, ext4
#   /dev/vdd   /btrfs, with the subvolume `sub`
#   /dev/vde   /vault, ext4: for repositories, with the home of `store`, whom the host alias `store` reaches by SFTP
set -eu
new=/mnt

# There is no sfdisk: a table of one entry, from sector 2048 to 524288 sectors on, type 0x83.
partition() {
    printf '\000\376\377\377\203\376\377\377\000\010\000\000\000\000\010\000' | dd of="$1" bs=1 seek=446 status=none
    printf '\125\252' | dd of="$1" bs=1 seek=510 status=none
    blockdev --rereadpt "$1"
    udevadm settle
}

volumes() {
    pvcreate -q /dev/vdb
    vgcreate -q vg0 /dev/vdb
    lvcreate -q -y -n root -L 1536M vg0
    lvcreate -q -y -n srv -L 256M vg0
    lvcreate -q -y -n deep -L 32M vg0
    lvcreate -q -y --type thin-pool -n pool -L 512M vg0
    lvcreate -q -y -n home -V 384M --thinpool pool vg0
}

file_systems() {
    # Nothing is left for the first start to do.
    for of in vg0/root:root vg0/srv:srv vg0/deep:deep vdc1:data vde:vault; do
        mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -L "${of#*:}" "/dev/${of%:*}"
    done
    mkfs.xfs -q -L home /dev/vg0/home
    mkfs.btrfs -q -L btrfs /dev/vdd
}

# The last field is when it is checked.
table() {
    cat <<TABLE
/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1
/dev/mapper/vg0-srv /srv ext4 defaults 0 2
/dev/mapper/vg0-deep /srv/data/deep ext4 defaults 0 2
/dev/mapper/vg0-home /home xfs defaults 0 0
LABEL=data /data ext4 defaults 0 2
LABEL=btrfs /btrfs btrfs defaults 0 0
LABEL=vault /vault ext4 defaults 0 2
TABLE
}

mounted() {
    mount /dev/vg0/root $new
    cp -ax / $new
    table >$new/etc/fstab
    table | while read -r what where _; do
        [ "$where" = / ] && continue
        mkdir -p "$new$where"
        mount "$what" "$new$where"
    done
    btrfs -q subvolume create $new/btrfs/sub
}

# Something of everything, small.
contents() {
    mkdir -p $new/srv/app $new/home/joe
    for dir in srv srv/app srv/data srv/data/deep home/joe data btrfs btrfs/sub; do
        echo "of $dir" >"$new/$dir/file"
    done
    ln $new/srv/app/file $new/srv/app/hard
    ln -s file $new/srv/app/soft
    head -c 300000 /dev/urandom >$new/srv/app/random
    truncate -s 1M $new/srv/app/sparse
}

# A server for files, of which the machine itself is the client.
server() {
    chroot $new useradd --home-dir /vault/store --create-home --shell /usr/sbin/nologin store
    chroot $new usermod --password '*' store
    printf 'Match User store\n    ForceCommand internal-sftp\n' >$new/etc/ssh/sshd_config.d/10-store.conf
    install -d -m 700 $new/root/.ssh
    ssh-keygen -q -t ed25519 -N '' -C web01 -f $new/root/.ssh/id_store
    install -d -m 700 -o "$(stat -c %u $new/vault/store)" -g "$(stat -c %g $new/vault/store)" $new/vault/store/.ssh
    cp $new/root/.ssh/id_store.pub $new/vault/store/.ssh/authorized_keys
    chown --reference=$new/vault/store $new/vault/store/.ssh/authorized_keys
    echo "store $(cat /etc/ssh/ssh_host_ed25519_key.pub)" >$new/root/.ssh/known_hosts
    cat >$new/root/.ssh/config <<CONFIG
Host store
    HostName 127.0.0.1
    HostKeyAlias store
    User store
    IdentityFile /root/.ssh/id_store
    IdentitiesOnly yes
    BatchMode yes
CONFIG
}

partition /dev/vdc
volumes
file_systems
mounted
contents
server
umount -R $new
vgchange -q -an vg0
sync
