
2026-11-25T05:59:18Z/20¦u
Btype.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment/
-outbound|8085||gone.default.svc.cluster.local-outbound|8085||gone.default.svc.cluster.local"Btype.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment*;2026-11-25T05:59:18Z/2039a11f4c-60fa-4d33-a0fd-8d29d85d635a