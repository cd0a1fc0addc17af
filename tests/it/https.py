# An https server for tests: https.py CERTIFICATE KEY DIRECTORY. Prints its port, then serves the directory, and some
# names that misbehave.
import http.server, ssl, sys, time

certificate, key, directory = sys.argv[1:]


class Server(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory=directory)

    def log_message(self, *_):
        pass

    def answer(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self):
        name = self.path[1:]
        if name.startswith("moved/"):
            self.answer(302, Location="/" + name.removeprefix("moved/"))
        elif name.startswith("plain-http/"):
            self.answer(302, Location=f"http://127.0.0.1:{port}/" + name.removeprefix("plain-http/"))
        elif name == "for-ever":
            self.answer(302, Location="/for-ever")
        elif name.startswith("broken-off/"):
            body = open(f"{directory}/" + name.removeprefix("broken-off/"), "rb").read()
            self.answer(200, Content_Length=str(len(body)))
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif name == "huge":
            self.answer(200, Content_Length=str(1 << 40))
            self.close_connection = True
        elif name == "silent":
            self.answer(200, Content_Length="100")
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(60)
        else:
            super().do_GET()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
server.daemon_threads = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
port = server.server_address[1]
print(port, flush=True)
server.serve_forever()
