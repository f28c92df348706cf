"""Makes MLflow's tables in the empty database at the URL as an older version of MLflow had them, with an experiment.

Run in the image, of which nothing but MLflow is used.
"""

import sys

import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_alembic_config, _verify_schema
from mlflow.store.tracking.dbmodels.initial_models import Base

OLDER_BY = 5  # changes of the tables
EXPERIMENT = """
    INSERT INTO experiments (name, lifecycle_stage, artifact_location) VALUES ('older', 'active', 'mlflow-artifacts:/9')
"""

url = sys.argv[1]
engine = sqlalchemy.create_engine(url)
Base.metadata.create_all(engine)
config = _get_alembic_config(url)  # type: ignore[no-untyped-call]
revisions = list(ScriptDirectory.from_config(config).walk_revisions())  # the newest first
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, revisions[OLDER_BY].revision)
    connection.execute(sqlalchemy.text(EXPERIMENT))
try:
    _verify_schema(engine)  # type: ignore[no-untyped-call]
except MlflowException as error:
    assert "out-of-date" in str(error), error
else:
    sys.exit("this is not an older store: MLflow takes it as it is")
