"""A program in the place of vLLM: it listens on its port, starts a child, and ends as it is told."""

import sys
from pathlib import Path

_TEXT = f"""#!{sys.executable}
import http.server, os, subprocess, sys
print("weights are loaded", flush=True)
if os.environ.get("DIES"):
    sys.exit("no memory is left on the card")
subprocess.Popen(["sleep", "600"])
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


def write_program(folder: Path) -> Path:
    """`folder/vllm`; with $DIES it ends at once, with code 1 and a last message."""
    program = folder / "vllm"
    program.write_text(_TEXT)
    program.chmod(0o755)
    return program
