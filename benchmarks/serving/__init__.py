"""Requests a second, latency and refusals of the service, beside a bare loop and beside other servers."""
