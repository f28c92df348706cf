"""The record of studies in MLflow: the only room that imports it."""
