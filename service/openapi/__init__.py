"""Routes that are declared once: from the declaration a request is parsed, and the OpenAPI document is made."""
