"""The history of moves: parameters of one MLflow run, which nobody can change once they are written.

MLflow has no compare-and-swap on aliases, but it refuses a second value for a parameter. So a mover claims a number,
say ``move-0007``, with everything it is about to do, then does it, then writes ``done-0007``. Of two movers one gets
the number; a claim without its ``done`` tells the next mover what was cut short. Values are JSON of at most 6,000
characters: MLflow cuts longer ones off without an error.
"""

from typing import Final

from mlflow.exceptions import MlflowException

from ml_project.errors import InvalidInput, Unavailable
from stores.history_run import find_run, make_run
from stores.mlflow_errors import open_client, translated
from stores.moves import CLAIM, ENDING, Ending, Move, Record

LONGEST: Final = 6_000


class History:
    """The moves of one registered model on an MLflow tracking server.

    Every method raises `Unavailable` when the server cannot be reached, or when somebody deleted the history.
    """

    def __init__(self, tracking_uri: str, model_name: str) -> None:
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self._client = open_client(tracking_uri)
        self._run_id: str | None = None

    def read(self) -> Record:
        """All of it; empty where nothing was ever moved."""
        with translated(self.tracking_uri):
            self._run_id = self._run_id or find_run(self._client, self.model_name)
            return Record.read(self._params(self._run_id)) if self._run_id else Record()

    def claim(self, number: int, move: Move) -> bool:
        """Take a number for a move; False where somebody else has it."""
        return self._write(_key(CLAIM, number), move.to_json())

    def end(self, number: int, ending: Ending) -> Ending:
        """Say how a move ended; the ending that stands, which is another mover's where that was first."""
        key = _key(ENDING, number)
        if self._write(key, ending.model_dump_json()):
            return ending
        with translated(self.tracking_uri):
            return Ending.model_validate_json(self._params(self.run_id)[key])

    @property
    def run_id(self) -> str:
        """The history run, made when there is none."""
        with translated(self.tracking_uri):
            self._run_id = self._run_id or find_run(self._client, self.model_name)
            self._run_id = self._run_id or make_run(self._client, self.model_name)
            return self._run_id

    def _write(self, key: str, value: str) -> bool:
        if len(value) > LONGEST:
            raise InvalidInput(f"The history keeps {LONGEST} characters per move, not {len(value)}.", "Say it shorter.")
        with translated(self.tracking_uri):
            run_id = self.run_id
            try:
                self._client.log_param(run_id, key, value)
            except MlflowException as error:
                # Refused, or the answer got lost: what is there now decides.
                standing = self._params(run_id).get(key)
                if standing is None:
                    raise Unavailable(
                        f"MLflow did not take {key} of the history run {run_id}: {str(error).splitlines()[0][:200]}"
                    ) from error
                return standing == value
        return True

    def _params(self, run_id: str) -> dict[str, str]:
        run = self._client.get_run(run_id)
        if run.info.lifecycle_stage != "active":
            raise Unavailable(f"The history run {run_id} was deleted.", "Restore it in MLflow's page.")
        return dict(run.data.params)


def _key(prefix: str, number: int) -> str:
    return f"{prefix}{number:04d}"
