"""The processes of a run: what `headrace run NAME` becomes, in a container or under `headrace up`."""
