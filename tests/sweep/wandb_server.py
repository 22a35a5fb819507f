"""As much of a W&B server as `wandb sweep`, `wandb agent` and the runs of a sweep need, on localhost.

The names of the GraphQL operations are W&B's internals and may change with its version: an operation that is not known
here is remembered in `unknown`, so that a test can tell "W&B changed" from "we broke it".
"""

import gzip
import json
import re
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT, SWEEP_ID = "tester", "lightning_gans", "abcd1234"
# asked by clients that can do without an answer
OPTIONAL = ("OrganizationCoreWeaveOrganizationID", "ServerFeaturesQuery")


class WandbServer:
    """The server.

    Args:
        trials: The settings that the agent is told to run, one after the other.
        seconds: After so long the agent is told to end, and its trials with it.

    Attributes:
        sweep_config: The YAML that `wandb sweep` sent.
        runs: By run id, what the run said of itself: "config", "sweep", "history" (a list of rows), "files", "exit".
        unknown: Operations that this server does not know.
    """

    def __init__(self, trials: list[dict[str, Any]], seconds: float = 500.0):
        self.trials = list(trials)
        self.until = time.monotonic() + seconds
        self.sweep_config = ""
        self.agents = 0
        self.runs: dict[str, dict[str, Any]] = defaultdict(lambda: {"history": [], "files": set(), "exit": None})
        self.unknown: list[str] = []
        self.lock = threading.Lock()
        server = self

        class Handler(_Handler):
            owner = server

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def environment(self, home: str) -> dict[str, str]:
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "0123456789" * 4,
            "WANDB_ENTITY": ENTITY,
            "WANDB_PROJECT": PROJECT,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_AGENT_DISABLE_FLAPPING": "true",
            "HOME": home,
        }

    # ---- GraphQL

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        method = getattr(self, f"_{operation}", None)
        if method is None:
            if operation not in OPTIONAL:
                self.unknown.append(operation)
            return {}
        with self.lock:
            return method(variables)

    def _Viewer(self, variables: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "u", "username": ENTITY, "entity": ENTITY, "email": "", "flags": "{}", "admin": False}
        teams = {"edges": [{"node": {"id": "t", "name": ENTITY}}]}
        return {
            "viewer": {**viewer, "name": ENTITY, "teams": teams, "apiKeys": {"edges": []}},
            "serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "features": []},
        }

    def _UpsertSweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.sweep_config = variables["config"]
        sweep = {"name": SWEEP_ID, "project": _project()}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def _SweepWithRuns(self, variables: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "s", "name": SWEEP_ID, "method": "grid", "state": "RUNNING", "description": None}
        sweep |= {"config": self.sweep_config, "createdAt": "2026-01-01T00:00:00", "heartbeatAt": None}
        sweep |= {"updatedAt": None, "earlyStopJobRunning": False, "controller": None, "scheduler": None}
        return {"project": {"sweep": {**sweep, "runs": {"edges": []}}}}

    def _CreateAgent(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.agents += 1
        return {"createAgent": {"agent": {"id": f"agent{self.agents}"}}}

    def _Heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        busy = json.loads(variables.get("runState") or "{}")
        commands: list[dict[str, Any]] = []
        if time.monotonic() > self.until:
            commands = [{"type": "exit"}]
        elif not busy and self.trials:
            number = len(self.trials)
            settings = self.trials.pop(0)
            arguments = {name: {"value": value} for name, value in settings.items()}
            commands = [{"type": "run", "run_id": f"run{number}", "program": "", "args": arguments}]
        elif not busy:
            commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "a"}, "commands": json.dumps(commands)}}

    def _UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables.get("name") or variables.get("id") or "run"
        run = self.runs[name]
        if variables.get("config"):
            run["config"] = json.loads(variables["config"])
        if variables.get("sweep"):
            run["sweep"] = variables["sweep"]
        bucket = {"id": f"id-{name}", "name": name, "displayName": name, "description": None, "config": "{}"}
        bucket |= {"sweepName": run.get("sweep"), "historyLineCount": 0, "project": _project()}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = variables.get("run") or variables.get("runName") or "run"
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{run}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": f"id-{run}", "uploadHeaders": [], "files": files}}

    # a table is an artifact too

    def _ArtifactType(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Say that the content is known already, so that only the run's own files are uploaded."""
        latest = {"id": "artifact", "versionIndex": 0}
        artifact: dict[str, Any] = {"id": "artifact", "state": "COMMITTED", "digest": "", "versionIndex": 0}
        return {
            "createArtifact": {"artifact": {**artifact, "artifactSequence": {"id": "seq", "latestArtifact": latest}}}
        }


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing: clients that end drop their connections."""


class _Handler(BaseHTTPRequestHandler):
    owner: WandbServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/graphql":
            request = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            operation = request.get("operationName") or (found[1] if found else "?")
            self._reply({"data": self.owner.answer(operation, request.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            self._stream(self.path.split("/")[-2], json.loads(body))
            self._reply({"exitcode": None, "limits": {}})
        else:
            self._reply({})

    def do_PUT(self) -> None:
        self._body()
        if self.path.startswith("/upload/"):
            _, _, run, name = self.path.split("/", 3)
            with self.owner.lock:
                self.owner.runs[run]["files"].add(name)
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def _stream(self, run: str, content: dict[str, Any]) -> None:
        with self.owner.lock:
            known = self.owner.runs[run]
            lines = content.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            known["history"] += [json.loads(line) for line in lines]
            if content.get("complete"):
                known["exit"] = content.get("exitcode")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _project() -> dict[str, Any]:
    return {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}
