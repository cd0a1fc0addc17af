# Servers for tests of notifiers: notify.py DIRECTORY CERTIFICATE KEY. What they hear is a JSON object a line in
# DIRECTORY/heard. HTTP on 8080, HTTPS on 8443; SMTP with STARTTLS on 587, with TLS on 465, without on 25; the first two
# let in `backup` with the password `mail-passes`, and nobody else.
import email, email.policy, http.server, json, ssl, sys, threading, time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

directory, certificate, key = sys.argv[1:]
lock, calls = threading.Lock(), {}


def heard(**what):
    with lock, open(f"{directory}/heard", "a") as file:
        file.write(json.dumps(what) + "\n")


class Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with lock:
            calls[self.path] = calls.get(self.path, 0) + 1
            count = calls[self.path]
        heard(method=self.command, path=self.path, headers={name.title(): value for name, value in self.headers.items()}, body=body)
        name = self.path[1:].split("/")
        if name[0] == "busy":
            self.answer(503 if count <= int(name[1]) else 200)
        elif name[0] == "moved":
            self.answer(302, Location="/ok/moved")
        elif name[0] == "silent":
            time.sleep(60)
        else:
            self.answer(204 if name[0] == "ok" else 404)

    do_GET = do_POST


class Post:
    def __init__(self, name):
        self.name = name

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        heard(
            server=self.name,
            tls=server.transport.get_extra_info("sslcontext") is not None,
            user=session.auth_data.decode() if session.auth_data else None,
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            mail=envelope.content.decode(),
            text=mail.get_content(),
        )
        return "250 OK"


def lets_in(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"backup", b"mail-passes")
    return AuthResult(success=good, auth_data=data.login, handled=False)


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
logins = dict(authenticator=lets_in, auth_required=True)
Controller(
    Post("starttls"), hostname="127.0.0.1", port=587, tls_context=tls, require_starttls=True, **logins
).start()
Controller(
    Post("implicit"), hostname="127.0.0.1", port=465, ssl_context=tls, auth_require_tls=False, **logins
).start()
Controller(Post("none"), hostname="127.0.0.1", port=25).start()

plain = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Web)
secure = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Web)
secure.socket = tls.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
for server in (plain, secure):
    server.daemon_threads = True
threading.Thread(target=plain.serve_forever, daemon=True).start()
secure.serve_forever()
