"""The steps: one retryable Prefect task each, each the only place that knows its tool."""
