"""What the contract says of a model: where its schema stands, and an example of it."""

from typing import Any

from pydantic import BaseModel

from otp_service.web import models

REF = "#/components/schemas/{model}"


def schema_ref(model: type[BaseModel]) -> dict[str, str]:
    """Return the reference to a model's schema."""
    return {"$ref": REF.format(model=model.__name__)}


def example(model: type[BaseModel]) -> dict[str, Any]:
    """Return the example of a model, put together from those of its fields."""
    schema = model.model_json_schema(
        mode="validation" if issubclass(model, models.RequestModel) else "serialization"
    )
    return dict(_example_of(schema, schema.get("$defs", {})))


def _example_of(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:  # noqa: ANN401
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example_of(schema["anyOf"][0], definitions)
    if schema.get("type") == "object":
        members = schema.get("properties", {})
        optional = {"context"}  # only one purpose takes it
        return {
            name: _example_of(member, definitions)
            for name, member in members.items()
            if name not in optional
        }
    if schema.get("type") == "array":
        return [_example_of(schema["items"], definitions)]
    return {"boolean": True, "integer": 0, "string": "", "null": None}.get(
        schema.get("type", "null")
    )
