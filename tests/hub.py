"""What huggingface_hub speaks with, on 127.0.0.1: repositories that are read, written, private, gated or missing."""

import base64
import hashlib
import json
from dataclasses import dataclass, field

from tests.web import Answer, Request, Web

TOKEN = "hf_of_the_owner"
LARGE = (".safetensors", ".bin")  # what git keeps as large files


@dataclass
class Repository:
    """Files of one commit; private ones want a token."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    @property
    def commit(self) -> str:
        """Of what it holds now."""
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


class Hub(Web):
    """repositories: {user/repo: Repository}. Pushing wants the TOKEN."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.history: dict[tuple[str, str], dict[str, bytes]] = {}  # files by (repository, commit)
        self.address = ""
        self._large: dict[str, bytes] = {}

    def add(self, name: str, files: dict[str, bytes], **settings: bool) -> str:
        """A repository, or its next commit; gives the commit."""
        self.repositories[name] = Repository(files, **settings)
        commit = self.repositories[name].commit
        self.history[name, commit] = files
        return commit

    def answer(self, request: Request, body: bytes) -> Answer:
        parts = request.path.strip("/").split("/")
        known = request.headers.get("authorization", request.headers.get("Authorization")) == f"Bearer {TOKEN}"
        if request.method in ("GET", "HEAD") and len(parts) > 4 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), known)
        if request.path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if parts[0] == "upload":
            self._large[parts[1]] = body
            return Answer(200)
        if not known:
            return Answer(401, b'{"error": "Invalid credentials"}', {"X-Error-Message": "Invalid credentials"})
        if request.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            exists = name in self.repositories
            if not exists:
                self.add(name, {}, private=bool(wanted.get("private") or wanted.get("visibility") == "private"))
            return _json({"url": f"{self.address}/{name}", "name": name}, 409 if exists else 200)
        if len(parts) == 4 and parts[:2] == ["api", "models"] and request.method == "GET":
            name = "/".join(parts[2:])
            return _json({"id": name, "private": self.repositories[name].private})
        if len(parts) >= 5 and parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4], body)
        if request.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.address}/upload/{each['oid']}", "header": {}}}}
                for each in json.loads(body)["objects"]
            ]
            return _json({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")
        return Answer(404)

    def _file(self, name: str, revision: str, file: str, known: bool) -> Answer:
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not known):
            return _refused(401 if not known else 404, "RepoNotFound", "Repository not found")
        if repository.gated and not known:
            return _refused(403, "GatedRepo", "Access to this model is restricted")
        commit = repository.commit if revision == "main" else revision
        files = self.history.get((name, commit))
        if files is None:
            return _refused(404, "RevisionNotFound", "Invalid rev id")
        if file not in files:
            return Answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        kind = hashlib.sha256 if file.endswith(LARGE) else hashlib.sha1
        etag = f'"{kind(files[file]).hexdigest()}"'
        return Answer(200, files[file], {"ETag": etag, "X-Repo-Commit": commit})

    def _api(self, name: str, action: str, body: bytes) -> Answer:
        if name not in self.repositories:
            return _refused(404, "RepoNotFound", "Repository not found")
        if action == "preupload":
            modes = [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular"}
                for each in json.loads(body)["files"]
            ]
            return _json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        if action == "commit":
            files = dict(self.repositories[name].files)
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "lfsFile":
                    files[line["value"]["path"]] = self._large[line["value"]["oid"]]
            commit = self.add(name, files, private=self.repositories[name].private)
            url = f"{self.address}/{name}/commit/{commit}"
            return _json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})
        return Answer(404)


def _json(content: object, status: int = 200, kind: str = "application/json") -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": kind})


def _refused(status: int, code: str, message: str) -> Answer:
    return Answer(status, headers={"X-Error-Code": code, "X-Error-Message": message})
