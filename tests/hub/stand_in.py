"""A hub on this machine: a server that speaks as much of the hub's API as huggingface_hub asks for, with faults.

Written from the requests that huggingface_hub sends and the Git LFS batch API.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_token_of_the_tests"  # noqa: S105 - of a server that lives as long as one test


class Hub:
    """Repositories as lists of commits, and what is to go wrong."""

    def __init__(self):
        self.commits = {}
        """By repository, [(commit, {name: content})], the newest last."""
        self.tags = {}
        """By repository and tag, a commit."""
        self.private = set()
        self.cards = {}
        """By repository, what the API tells of its card's head."""
        self.blobs = {}
        self.requests = []
        self.status = {}
        """By a part of the path, the status to answer with."""
        self.cut = set()
        """Names whose body breaks off half-way."""
        self.spoilt = set()
        """Names whose body has a byte that differs."""

    def add(self, repository, files, tag=None):
        """Make a commit."""
        digest = hashlib.sha1(repr((len(self.commits.get(repository, ())), sorted(files.items()))).encode())  # noqa: S324
        self.commits.setdefault(repository, []).append((digest.hexdigest(), dict(files)))
        if tag:
            self.tags[repository, tag] = digest.hexdigest()
        return digest.hexdigest()

    def find(self, repository, revision):
        """Commit and files; None where there is no such repository, () where it has no such revision."""
        if repository not in self.commits:
            return None
        commits = self.commits[repository]
        wanted = self.tags.get((repository, revision), revision)
        if wanted == "main":
            return commits[-1]
        return next((one for one in commits if one[0] == wanted), ())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def hub(self):
        return self.server.hub

    def answer(self, status, content=b"", head=None):
        body = json.dumps(content).encode() if isinstance(content, dict | list) else content
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (head or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code="", words=""):
        self.answer(status, {"error": words}, {"X-Error-Code": code, "X-Error-Message": words})

    def take(self):
        """The body of a request, and whether it is to be refused."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        status = next((status for part, status in self.hub.status.items() if part in path), None)
        if status:
            self.refuse(status, words="made up for a test")
        return None if status else path

    @property
    def known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def look_up(self, repository, revision):
        found = self.hub.find(repository, revision)
        if found is None or (repository in self.hub.private and not self.known):
            self.refuse(404 if self.known else 401, "RepoNotFound", "Repository not found")
        elif not found:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None

    def do_GET(self):
        path = self.take()
        if path is None:
            return
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self.tell(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.give(*found.groups())
        else:
            self.answer(404)

    def do_HEAD(self):
        self.do_GET()

    def tell(self, repository, revision):
        found = self.look_up(repository, revision)
        if found:
            commit, files = found
            self.answer(
                200,
                {
                    "_id": "1", "id": repository, "modelId": repository, "sha": commit, "private": False, "tags": [],
                    "downloads": 0, "likes": 0, "cardData": self.hub.cards.get(repository),
                    "siblings": [{"rfilename": name, "size": len(content)} for name, content in files.items()],
                },
            )  # fmt: skip

    def give(self, repository, revision, name):
        found = self.look_up(repository, revision)
        if not found:
            return
        commit, files = found
        if name not in files:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        content = files[name]
        head = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if name in self.hub.spoilt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.command == "HEAD" or name not in self.hub.cut:
            self.answer(200, content, head)
            return
        self.send_response(200)
        for key, value in (head | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def do_PUT(self):
        path = self.take()
        if path is None:
            return
        oid = path.removeprefix("/lfs/")
        right = hashlib.sha256(self.body).hexdigest() == oid
        if right:
            self.hub.blobs[oid] = self.body
        self.answer(200 if right else 400)

    def do_POST(self):
        path = self.take()
        if path is None:
            return
        if not self.known:
            self.refuse(401, words="Invalid username or password.")
        elif path == "/api/repos/create":
            self.create()
        elif path.endswith("/objects/batch"):
            here = f"http://{self.headers['Host']}"
            objects = [
                {"oid": one["oid"], "size": one["size"], "actions": {"upload": {"href": f"{here}/lfs/{one['oid']}"}}}
                for one in json.loads(self.body)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif "/preupload/" in path:
            files = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].startswith("model.") else "regular",
                 "shouldIgnore": False}
                for one in json.loads(self.body)["files"]
            ]  # fmt: skip
            self.answer(200, {"files": files})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self.commit(found[1])
        else:  # checks of a card's head, which the hub makes too
            self.answer(200, {"errors": [], "warnings": []})

    def create(self):
        asked = json.loads(self.body)
        repository = f"{asked.get('organization') or 'someone'}/{asked['name']}"
        if repository in self.hub.commits:
            self.answer(409, {"error": "You already created this model repo"})
            return
        self.hub.commits[repository] = []
        self.hub.add(repository, {".gitattributes": b""})
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(repository)
        self.answer(200, {"url": f"http://{self.headers['Host']}/{repository}"})

    def commit(self, repository):
        files = dict(self.hub.commits[repository][-1][1])
        for line in self.body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                files[one["value"]["path"]] = self.hub.blobs[one["value"]["oid"]]
        commit = self.hub.add(repository, files)
        here = f"http://{self.headers['Host']}/{repository}"
        self.answer(200, {"success": True, "commitUrl": f"{here}/commit/{commit}", "commitOid": commit})


@contextmanager
def running():
    """A hub that answers; its `address` is what HF_ENDPOINT names."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hub = Hub()
    server.hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
