# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes' endpoint controller computes: from a Service and the pods there are, its EndpointSlice."""

from pod import NODE


def selects(service, pod):
    selector = service["spec"].get("selector") or {}
    return (bool(selector) and pod.namespace == service["metadata"]["namespace"]
            and all(pod.labels.get(key) == value for key, value in selector.items()))


def endpoint_slice(service, pods):
    """The manifest of the one slice that the lab keeps for a service."""
    meta = service["metadata"]
    chosen = [pod for pod in pods if selects(service, pod)]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": meta["name"] + "-lab", "namespace": meta["namespace"],
                     "labels": {"kubernetes.io/service-name": meta["name"]}},
        "endpoints": [_endpoint(pod) for pod in chosen],
        "ports": [{"name": port.get("name", ""), "port": _target(port, chosen), "protocol": "TCP"}
                  for port in service["spec"]["ports"]],
    }


def _endpoint(pod):
    ready, terminating = pod.record["ready"], pod.record["terminating"]
    return {"addresses": [pod.address], "nodeName": NODE,
            "conditions": {"ready": ready and not terminating, "serving": ready, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace, "uid": pod.record["uid"]}}


def _target(port, pods):
    """The port in the pod: a number, or the name of one that the pods declare."""
    target = port.get("targetPort", port["port"])
    declared = {name: number for pod in pods for name, number in pod.ports}
    return target if isinstance(target, int) else declared.get(target, port["port"])
