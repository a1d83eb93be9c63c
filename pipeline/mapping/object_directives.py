"""The directives that choose and build: `@literal @if @arrayPath @flatten @merge @transform @excludeWhenNull`.

Source of the rules: reference/mapping.md §1.4, §1.6, §1.8, §1.9, §1.11, §1.14.
"""

from __future__ import annotations

from typing import Final

from pipeline.mapping.nodes import NOTHING, Node, Place, Resolve, Scope, is_directive, may_have_holes, plain, swept
from pipeline.mapping.paths import compile_rooted_path
from pipeline.mapping.values import JSON, MISSING, is_blank, is_falsy, sweep, type_name

ROOT_KEY: Final = "__segment_internal_directive"
"""Key of a mapping whose one directive takes all other keys as its `mapping`."""


def compile_literal_directive(place: Place, argument: JSON) -> Node:
    """Compile `@literal`: the argument, with the directives inside it resolved."""
    return place.compile(argument)


def compile_if_directive(place: Place, argument: JSON) -> Node:
    """Compile `@if`: `then` where `exists` is neither missing nor null, or `blank` (sic) is not blank; else `else`."""
    fields = place.fields(argument)
    if fields is None:
        return NOTHING
    if is_falsy(fields.get("exists")) and is_falsy(fields.get("blank")):
        place.problem('needs "exists" or "blank"', "write the directive to test under one of them")
    nodes = {key: place.below(key).compile(fields[key]) for key in ("exists", "blank", "then", "else") if key in fields}
    yes = nodes.get("then", NOTHING)
    no = NOTHING if is_falsy(fields.get("else")) else nodes["else"]
    by_existence = "exists" in fields
    tested = nodes.get("exists" if by_existence else "blank", NOTHING).resolve

    def choose(then: Resolve, otherwise: Resolve) -> Resolve:
        def by_exists(event: JSON) -> JSON:
            value = tested(event)
            return otherwise(event) if value is None or value is MISSING else then(event)

        def by_blank(event: JSON) -> JSON:
            return otherwise(event) if is_blank(tested(event)) else then(event)

        return by_exists if by_existence else by_blank

    resolve = choose(yes.resolve, no.resolve)
    holes = may_have_holes(yes) or may_have_holes(no)
    return Node(resolve, choose(yes.finish, no.finish)) if holes else plain(resolve)


def compile_array_path_directive(place: Place, argument: JSON) -> Node:
    """Compile `@arrayPath`: the value at a path; with a shape, a list with the shape resolved for each item."""
    if not isinstance(argument, list) or not argument:
        given = "it is empty" if argument == [] else f"it is {type_name(argument)}"
        return place.problem(f"needs a list, but {given}", "write [path] or [path, shape]")
    first, scope = argument[0], place.scope
    by_text = isinstance(first, str)
    root = swept(compile_rooted_path(first), scope, holes=scope.holes) if by_text else place.below(0).compile_text(first)
    if len(argument) == 1:
        return root
    shape = place.below(1, Scope(scope.holes or may_have_holes(root), scope.hole)).compile(argument[1])
    if not isinstance(argument[1], dict) or not argument[1]:
        return root
    return Node(
        _shaped(root.resolve, root.resolve, shape.resolve, MISSING),
        _shaped(root.resolve, root.finish, shape.finish, scope.hole),
    )


def _shaped(items: Resolve, unshaped: Resolve, shape: Resolve, hole: JSON) -> Resolve:
    def resolve(event: JSON) -> JSON:
        found = items(event)
        if isinstance(found, dict):
            found = [found]
        elif not isinstance(found, list):
            return unshaped(event)
        return [hole if (value := shape(item)) is MISSING else value for item in found]

    return resolve


def compile_flatten_directive(place: Place, argument: JSON) -> Node:
    """Compile `@flatten`: one object of all values inside, under keys joined by a separator."""
    fields = place.fields(argument, ("value", "separator"))
    if fields is None:
        return NOTHING
    separator = fields["separator"]
    if not isinstance(separator, str) or not separator:
        place.below("separator").problem("needs a string that is not empty", "a dot or an underscore, for example")
        separator = "."
    value = place.below("value").compile(fields["value"])
    keep_lists = not is_falsy(fields.get("omitArrays"))

    def resolve(event: JSON) -> JSON:
        flat: dict[str, JSON] = {}
        found = value.resolve(event)
        if found is not MISSING:
            _flatten(found, "", separator, flat, keep_lists=keep_lists)
        return flat

    return swept(resolve, place.scope, holes=may_have_holes(value))


def _flatten(value: JSON, prefix: str, separator: str, into: dict[str, JSON], *, keep_lists: bool) -> None:
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list) and not keep_lists:
        pairs = [(str(index), item) for index, item in enumerate(value)]
    else:
        into[prefix] = value
        return
    for key, item in pairs:
        _flatten(item, f"{prefix}{separator}{key}" if prefix else key, separator, into, keep_lists=keep_lists)


def compile_merge_directive(place: Place, argument: JSON) -> Node:
    """Compile `@merge`: several objects in one; a later key wins, also when its value is missing or null."""
    fields = place.fields(argument, ("objects", "direction"))
    if fields is None:
        return NOTHING
    objects, direction = fields["objects"], fields["direction"]
    if not isinstance(direction, str) or direction.lower() not in ("left", "right"):
        place.below("direction").problem("needs left or right", "right: the last wins; left: the first wins")
    if not isinstance(objects, list):
        return place.below("objects").problem(f"needs a list, but it is {type_name(objects)}")
    nodes = []
    for index, item in enumerate(objects):
        inner = place.below("objects").below(index)
        if isinstance(item, dict):
            nodes.append(inner.compile(item))
        else:
            inner.problem(f"needs an object or a directive, but it is {type_name(item)}")
    if direction == "left":
        nodes.reverse()
    return _merged(nodes, place.scope.hole)


def _merged(nodes: list[Node], hole: JSON) -> Node:
    resolvers = tuple(node.resolve for node in nodes)
    layers = tuple((node.resolve, may_have_holes(node)) for node in nodes)

    def resolve(event: JSON) -> JSON:
        merged: dict[str, JSON] = {}
        for layer in resolvers:
            found = layer(event)
            if isinstance(found, dict):
                merged.update(found)
        return merged

    def finish(event: JSON) -> JSON:
        merged: dict[str, JSON] = {}
        for layer, holes in layers:
            found = layer(event)
            if isinstance(found, dict):
                merged.update({key: sweep(item, hole) for key, item in found.items()} if holes else found)
        return {key: item for key, item in merged.items() if item is not MISSING}

    return Node(resolve, finish) if any(map(may_have_holes, nodes)) else plain(resolve)


def compile_transform_directive(place: Place, argument: JSON) -> Node:
    """Compile `@transform`: `mapping` resolved against what `apply` made of the event, and nothing else."""
    fields = place.fields(argument, ("apply", "mapping"))
    if fields is None:
        return NOTHING
    for key in ("apply", "mapping"):
        if not isinstance(fields[key], dict):
            place.below(key).problem(f"needs an object or a directive, but it is {type_name(fields[key])}")
    holes = place.scope.holes or _has_list(fields["apply"])
    apply = compile_root(place.below("apply", Scope(place.scope.holes, MISSING)), fields["apply"]).finish
    mapping = place.below("mapping", Scope(holes, place.scope.hole)).compile(fields["mapping"])

    def transformed(inner: Resolve) -> Resolve:
        def resolve(event: JSON) -> JSON:
            if not isinstance(event, dict):
                raise place.failure(f"needs an object to work on, but the item is {type_name(event)}")
            return inner(apply(event))

        return resolve

    resolve = transformed(mapping.resolve)
    return Node(resolve, transformed(mapping.finish)) if may_have_holes(mapping) else plain(resolve)


def _has_list(value: JSON) -> bool:
    """Tell whether a mapping can make a list with a missing item, which the next mapping would see as missing."""
    if isinstance(value, dict):
        return "@arrayPath" in value or any(map(_has_list, value.values()))
    return isinstance(value, list)


def compile_exclude_when_null_directive(place: Place, argument: JSON) -> Node:
    """Compile `@excludeWhenNull`: missing for null, and objects without their null keys; lists stay as they are."""
    value = place.compile(argument)

    def excluded(inner: Resolve) -> Resolve:
        def resolve(event: JSON) -> JSON:
            found = inner(event)
            return MISSING if found is None else _without_nulls(found)

        return resolve

    resolve = excluded(value.resolve)
    return Node(resolve, excluded(value.finish)) if may_have_holes(value) else plain(resolve)


def _without_nulls(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def compile_root(place: Place, mapping: JSON) -> Node:
    """Compile a whole mapping: as it stands, or through the directive under its `ROOT_KEY`."""
    if not isinstance(mapping, dict) or ROOT_KEY not in mapping:
        return place.compile(mapping)
    root, inner = mapping[ROOT_KEY], place.below(ROOT_KEY)
    if not is_directive(root) or len(root) != 1:
        return inner.problem("needs an object with one directive", '{"@transform": {"apply": …}}')
    ((name, argument),) = root.items()
    if not isinstance(argument, dict):
        return inner.below(name).problem(f"needs an object, but it is {type_name(argument)}")
    rest = {key: item for key, item in mapping.items() if key != ROOT_KEY}
    return inner.compile({name: {**argument, "mapping": rest}})
