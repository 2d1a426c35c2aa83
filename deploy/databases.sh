#!/bin/sh
# Run once by the PostgreSQL image, on an empty data folder: a user and a database each for MLflow (runs, users) and Prefect.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres \
  -v mlflow="$MLFLOW_DATABASE_PASSWORD" -v prefect="$PREFECT_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_users OWNER mlflow;
CREATE DATABASE prefect OWNER prefect;
SQL
