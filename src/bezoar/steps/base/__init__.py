"""Base models: one module for each way to get one."""
