# SPDX-License-Identifier: Apache-2.0
"""A small client of the Kubernetes API: apply, get, patch, delete; enough to play kubectl and kubelet."""

import http.client
import json
import ssl
import urllib.parse

import netns

FIELD_MANAGER = "libmesh-lab"


class KubeError(Exception):
    """The API server said no; `status` is the HTTP status."""

    def __init__(self, status, text):
        super().__init__(f"kube-apiserver answered {status}: {text[:600]}")
        self.status = status


class _Connection(http.client.HTTPSConnection):
    """HTTPS to a server that listens in another network namespace."""

    def __init__(self, namespace, address):
        # The server made its certificate itself a moment ago and nobody else is in its namespace: nothing to verify.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(address[0], address[1], context=context, timeout=20)
        self._namespace = namespace
        self._tls = context

    def connect(self):
        plain = netns.connect(self._namespace, (self.host, self.port), timeout=20)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Kube:
    """The API server at `address` inside network namespace `namespace`."""

    def __init__(self, namespace, address, token):
        self._namespace = namespace
        self._address = address
        self._token = token
        self._kinds = {}

    def request(self, method, path, body=None, content_type="application/json"):
        """One exchange; the decoded answer, or KubeError."""
        connection = _Connection(self._namespace, self._address)
        headers = {"Authorization": "Bearer " + self._token, "Content-Type": content_type}
        try:
            # default=str: YAML turns dates into objects that JSON does not know.
            data = None if body is None else json.dumps(body, default=str)
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise KubeError(answer.status, text)
        return json.loads(text) if text.startswith("{") else text

    def path(self, kind, name=None, namespace="default", api="v1", sub=""):
        """The URL path of an object, or of all objects of a kind when there is no name."""
        plural, namespaced = self._kind(api, kind)
        root = "/api/" + api if "/" not in api else "/apis/" + api
        place = f"/namespaces/{namespace}" if namespaced else ""
        return root + place + "/" + plural + ("/" + urllib.parse.quote(name) if name else "") + sub

    def _kind(self, api, kind):
        """How the server calls a kind in its paths, and whether it lives in namespaces."""
        if (api, kind) not in self._kinds:
            root = "/api/" + api if "/" not in api else "/apis/" + api
            for entry in self.request("GET", root)["resources"]:
                if "/" not in entry["name"]:
                    self._kinds[(api, entry["kind"])] = (entry["name"], entry["namespaced"])
        if (api, kind) not in self._kinds:
            raise KubeError(404, f"no kind {kind} in {api}")
        return self._kinds[(api, kind)]

    def object_path(self, manifest, sub=""):
        """The URL path of the object that a manifest describes."""
        meta = manifest["metadata"]
        return self.path(manifest["kind"], meta["name"], meta.get("namespace", "default"), manifest["apiVersion"], sub)

    def apply(self, manifest, sub=""):
        """Creates or updates, as `kubectl apply --server-side` does; the object as stored."""
        query = f"?fieldManager={FIELD_MANAGER}&force=true"
        return self.request("PATCH", self.object_path(manifest, sub) + query, manifest, "application/apply-patch+yaml")

    def patch(self, path, body):
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path):
        """Removes at once, without a grace period; nothing to remove is fine too."""
        try:
            self.request("DELETE", path + "?gracePeriodSeconds=0")
        except KubeError as error:
            if error.status != 404:
                raise

    def list(self, kind, namespace="default", api="v1"):
        return self.request("GET", self.path(kind, namespace=namespace, api=api))["items"]
