"""The library: fine-tuning as plain functions and small frozen types.

Knows torch and transformers; never Prefect, MLflow, Great Expectations or DVC.
"""
