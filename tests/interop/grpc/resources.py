# SPDX-License-Identifier: Apache-2.0
"""What the control plane hands out for the gRPC interop cases: whom `client` may call and how, and what `server` lets in."""

TYPES = "type.googleapis.com/envoy."
HTTP2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": TYPES + "extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicitHttpConfig": {"http2ProtocolOptions": {}}}}
ROUTER = {"name": "envoy.filters.http.router",
          "typedConfig": {"@type": TYPES + "extensions.filters.http.router.v3.Router"}}


def _secret(name):
    return {"name": name, "sdsConfig": {"resourceApiVersion": "V3", "initialFetchTimeout": "0s", "apiConfigSource": {
        "apiType": "GRPC", "transportApiVersion": "V3", "setNodeOnFirstMessageOnly": True,
        "grpcServices": [{"envoyGrpc": {"clusterName": "sds-grpc"}}]}}}


def _common(alpn, san):
    return {"alpnProtocols": alpn, "tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_2"},
            "tlsCertificateSdsSecretConfigs": [_secret("default")],
            "combinedValidationContext": {"defaultValidationContext": {"matchSubjectAltNames": [san]},
                                          "validationContextSdsSecretConfig": _secret("ROOTCA")}}


def cluster(name, address, port, identity=None):
    """A STATIC one of one endpoint, HTTP/2; with an identity over mutual TLS."""
    made = {"@type": TYPES + "config.cluster.v3.Cluster", "name": name, "type": "STATIC", "connectTimeout": "2s",
            "typedExtensionProtocolOptions": HTTP2,
            "loadAssignment": {"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": {
                "address": {"socketAddress": {"address": address, "portValue": port}}}}]}]}}
    if identity:
        made["transportSocket"] = {"name": "envoy.transport_sockets.tls", "typedConfig": {
            "@type": TYPES + "extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": name,
            "commonTlsContext": _common(["h2"], {"exact": identity})}}
    return made


def outbound(hosts):
    """The listener and the routes of a caller: each host name goes to the cluster of that name."""
    manager = {"@type": TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "statPrefix": "outbound", "httpFilters": [ROUTER], "rds": {
                   "routeConfigName": "9080",
                   "configSource": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"}}}
    listener = {"@type": TYPES + "config.listener.v3.Listener", "name": "0.0.0.0_9080", "bindToPort": False,
                "trafficDirection": "OUTBOUND", "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 9080}},
                "filterChains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager",
                                               "typedConfig": manager}]}]}
    routes = {"@type": TYPES + "config.route.v3.RouteConfiguration", "name": "9080", "ignorePortInHostMatching": True,
              "virtualHosts": [{"name": host, "domains": [host], "routes": [
                  {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": host, "timeout": "0s"}}]}
                               for host in hosts]}
    return [listener, routes]


def inbound(port):
    """PERMISSIVE: the port takes plaintext, and mutual TLS from anybody of the trust domain."""
    def chain(transport, **more):
        manager = {"@type": TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                   "statPrefix": "inbound", "httpFilters": [ROUTER], "routeConfig": {"name": "inbound", "virtualHosts": [
                       {"name": "inbound", "domains": ["*"], "routes": [{"name": "default", "match": {"prefix": "/"}, "route": {
                           "cluster": f"inbound|{port}||", "timeout": "0s"}}]}]}}
        return {"filterChainMatch": {"destinationPort": port, "transportProtocol": transport}, "name": transport, "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager}], **more}
    tls = {"name": "envoy.transport_sockets.tls", "typedConfig": {
        "@type": TYPES + "extensions.transport_sockets.tls.v3.DownstreamTlsContext", "requireClientCertificate": True,
        "commonTlsContext": _common(["h2"], {"prefix": "spiffe://cluster.local/"})}}
    inspector = {"name": "envoy.filters.listener.tls_inspector", "typedConfig": {
        "@type": TYPES + "extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
    return [{"@type": TYPES + "config.listener.v3.Listener", "name": "virtualInbound", "trafficDirection": "INBOUND",
             "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 15006}}, "listenerFilters": [
                 {"name": "envoy.filters.listener.original_dst", "typedConfig": {
                     "@type": TYPES + "extensions.filters.listener.original_dst.v3.OriginalDst"}}, inspector],
             "filterChains": [chain("tls", transportSocket=tls), chain("raw_buffer")]},
            {"@type": TYPES + "config.cluster.v3.Cluster", "name": f"inbound|{port}||", "type": "ORIGINAL_DST",
             "connectTimeout": "10s", "lbPolicy": "CLUSTER_PROVIDED"}]
