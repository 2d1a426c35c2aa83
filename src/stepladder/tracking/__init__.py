"""MLflow: what happened in every run, and the registry of models. Importing these modules does not import MLflow."""
