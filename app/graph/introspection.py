"""How large the description of a schema is, list by list, so that asking for it can be bounded.

Introspection reads no rows, but lists inside lists inside lists multiply: the fields of the types of the fields of all
types are hundreds of thousands of objects. The standard query that every tool sends has to pass nevertheless.
"""

from collections.abc import Mapping

from graphql import (
    GraphQLSchema,
    is_abstract_type,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_object_type,
)


def objects_per_list(schema: GraphQLSchema) -> Mapping[tuple[str, str], float]:
    """The mean length of each list of the introspection types, by (type name, field name)."""
    types = list(schema.type_map.values())
    fields = arguments = inputs = values = interfaces = possible = 0
    for type_ in types:
        if is_object_type(type_) or is_interface_type(type_):
            fields += len(type_.fields)
            arguments += sum(len(field.args) for field in type_.fields.values())
            interfaces += len(type_.interfaces)
        elif is_input_object_type(type_):
            inputs += len(type_.fields)
        elif is_enum_type(type_):
            values += len(type_.values)
        if is_abstract_type(type_):
            possible += len(schema.get_possible_types(type_))
    directive_arguments = sum(len(directive.args) for directive in schema.directives)
    return {
        ("__Schema", "types"): float(len(types)),
        ("__Schema", "directives"): float(len(schema.directives)),
        ("__Type", "fields"): fields / len(types),
        ("__Type", "inputFields"): inputs / len(types),
        ("__Type", "enumValues"): values / len(types),
        ("__Type", "interfaces"): interfaces / len(types),
        ("__Type", "possibleTypes"): possible / len(types),
        ("__Field", "args"): arguments / max(fields, 1),
        ("__Directive", "args"): directive_arguments / max(len(schema.directives), 1),
    }
