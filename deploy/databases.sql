-- Makes a user and a database each for Prefect and MLflow. Run once, by PostgreSQL's administrator;
-- the passwords come from the environment of psql, so that they stand in no file and no command.
\set ON_ERROR_STOP on
\getenv prefect_password PREFECT_DATABASE_PASSWORD
\getenv mlflow_password MLFLOW_DATABASE_PASSWORD
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE prefect OWNER prefect;
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
REVOKE CONNECT ON DATABASE prefect, mlflow, mlflow_auth FROM PUBLIC;
\connect prefect
-- Prefect looks names up by parts of them.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
