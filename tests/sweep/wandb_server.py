"""As much of a W&B server as `wandb sweep`, `wandb agent`, their runs and `wandb.Api` need, on localhost.

The names of the GraphQL operations are W&B's internals and may change with its version: an operation that is not known
here is remembered in `unknown`, so that a test can tell "W&B changed" from "we broke it".
"""

import gzip
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import wandb

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
        runs: By run id, in the order of their creation, what the run said of itself: "name", "config", "sweep",
            "history" (a list of rows), "summary", "files", "exit"; "state" where a test says it.
        asked: Operations that this server was asked for.
        unknown: Those of them that it does not know.
        refusing: HTTP statuses by operation that a test wants refused.
    """

    def __init__(self, trials: list[dict[str, Any]], seconds: float = 500.0):
        self.trials = list(trials)
        self.until = time.monotonic() + seconds
        self.sweep_config = ""
        self.agents = 0
        self.runs: dict[str, dict[str, Any]] = defaultdict(
            lambda: {"config": {}, "history": [], "summary": {}, "files": set(), "exit": None}
        )
        self.asked: list[str] = []
        self.unknown: list[str] = []
        self.refusing: dict[str, int] = {}
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
        self.asked.append(operation)
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
        run["name"] = variables.get("displayName") or run.get("name") or name
        bucket = {"id": f"id-{name}", "name": name, "displayName": run["name"], "description": None, "config": "{}"}
        bucket |= {"sweepName": run.get("sweep"), "historyLineCount": 0, "project": _project()}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = variables.get("run") or variables.get("runName") or "run"
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{run}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": f"id-{run}", "uploadHeaders": [], "files": files}}

    # what wandb.Api asks for

    def _GetSweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        if (variables["entity"], variables["project"]) != (ENTITY, PROJECT):
            return {"project": None}
        if variables["name"] != SWEEP_ID:
            return {"project": {"sweep": None}}
        sweep = {"__typename": "Sweep", "id": "s", "name": SWEEP_ID, "displayName": None, "method": "grid"}
        sweep |= {"state": "FINISHED", "description": None, "bestLoss": None, "config": self.sweep_config}
        sweep |= {"createdAt": "2026-01-01T00:00:00", "updatedAt": None, "runCount": len(self.runs)}
        return {"project": {"sweep": {**sweep, "runCountExpected": None}}}

    # asked where the other is refused
    _GetSweepLegacy = _GetSweep

    def _Runs(self, variables: dict[str, Any]) -> dict[str, Any]:
        """The runs of the sweep in the order that is asked for, a page at a time."""
        if json.loads(variables["filters"]) not in ({"sweep": SWEEP_ID}, {"$and": [{"sweep": SWEEP_ID}]}):
            self.unknown.append(f"Runs with {variables['filters']}")
        nodes = [self._node(name, number) for number, name in enumerate(self.runs)]
        if variables["order"] == "-created_at":
            nodes.reverse()
        first = int(variables.get("cursor") or 0)
        last = first + variables["perPage"]
        edges = [{"node": node, "cursor": str(first + i + 1)} for i, node in enumerate(nodes[first:last])]
        page = {"endCursor": str(last), "hasNextPage": last < len(nodes)}
        runs = {"edges": edges, "pageInfo": page}
        return {"project": {"internalId": "1", "runCount": len(nodes), "readOnly": False, "runs": runs}}

    def _node(self, name: str, number: int) -> dict[str, Any]:
        run = self.runs[name]
        ended = "running" if run["exit"] is None else "failed" if run["exit"] else "finished"
        node = {"id": f"id-{name}", "projectId": "1", "name": name, "displayName": run.get("name", name), "tags": []}
        node |= {"sweepName": run.get("sweep"), "state": run.get("state", ended), "group": None, "jobType": None}
        node |= {"commit": None, "readOnly": False, "createdAt": f"2026-01-01T00:{number // 60:02}:{number % 60:02}"}
        node |= {"heartbeatAt": None, "description": None, "notes": None, "historyLineCount": len(run["history"])}
        node |= {"user": {"name": ENTITY, "username": ENTITY}, "historyKeys": None, "systemMetrics": "{}"}
        return {**node, "config": json.dumps(run["config"]), "summaryMetrics": json.dumps(run["summary"])}

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


@contextmanager
def client_here(server: WandbServer, folder: Path) -> Iterator[None]:
    """W&B's client in this process speaks to this server, and keeps its files in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        # in a new home, matplotlib would count all fonts first
        for name, value in server.environment(home="").items():
            if name != "HOME":
                patch.setenv(name, value)
        for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder))
        patch.delenv("WANDB_MODE", raising=False)
        # it reads its environment once only
        wandb.teardown()
        yield
        wandb.teardown()


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
            if status := self.owner.refusing.get(operation):
                self._reply({"errors": [{"message": "a planted refusal"}]}, status)
            else:
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
            for line in content.get("files", {}).get("wandb-summary.json", {}).get("content", []):
                known["summary"] = json.loads(line)
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

    def _reply(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _project() -> dict[str, Any]:
    return {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}
