"""MLflow, and the record of a study."""

import os

# MLflow tells its makers that it was imported, before anybody can say no.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
