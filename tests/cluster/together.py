"""Nodes of one cluster, started at once: each that comes waits until the others have heard of it, side by side."""

from server import Server


def start_nodes(config, redis, n=3, numbered=False, **options):
    """So many Servers with one prefix on the Redis Cluster at these addresses. numbered: they are the nodes 1, 2 …"""
    nodes, keys = [], None
    try:
        for i in range(n):
            nodes.append(Server(dict(config, node=i + 1) if numbered else config, start=False, redis=redis, nodes=1,
                                keys=keys, **options))
            keys = nodes[0].keys
        launch(nodes)
    except BaseException:
        for s in nodes:
            s.discard()
        raise
    return nodes


def launch(nodes):
    """Starts them, again or for the first time."""
    for s in nodes:
        s.write_config()
        s.launch(wait=False)
    for s in nodes:
        s.await_ports()
