"""The scheduler with other children than the real commands: ``scheduler.py FOLDER RETRAIN_CRON MONITOR_CRON``."""

import sys
from pathlib import Path

from ml_project.errors import FraudError
from pipelines.schedule.run import Scheduler
from pipelines.settings import PipelineSettings

folder, *crons = sys.argv[1:]
children = (sys.executable, str(Path(__file__).with_name("scheduled.py")), folder)
try:
    Scheduler(PipelineSettings(), dict(zip(("retrain", "monitor"), crons, strict=False)), children).run()
except FraudError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
