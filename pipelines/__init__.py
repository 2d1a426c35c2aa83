"""When, where and how many at once: Prefect flows over the stages that ``dvc.yaml`` declares."""
