"""openapi.json (OpenAPI 3.1), made of the table of operations, the models and the table of problems."""
