{{- define "zerotrust.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "zerotrust.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "zerotrust.labels" -}}
{{ include "zerotrust.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "zerotrust.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* What only the chart knows: where things are. "..data" is the folder that the kubelet exchanges in one rename, and the files in
     it are files; the names beside it are symbolic links, which the broker does not follow. */}}
{{- define "zerotrust.config" -}}
{{- $files := "/etc/zerotrust/..data" }}
{{- $own := dict
  "server" (dict "listen" (list "https://0.0.0.0:8443"))
  "tls" (dict "certificate" (printf "%s/tls/tls.crt" $files) "private_key" (printf "%s/tls/tls.key" $files))
  "kerberos" (dict "keytabs" (list (printf "%s/keytabs/http.keytab" $files)))
  "audit" (dict "directory" "/var/log/zerotrust/audit")
  "state" (dict "directory" "/var/lib/zerotrust/state")
}}
{{- if .Values.encryptionKey.existingSecret }}
{{- $_ := set $own "encryption" (dict "key_file" (printf "%s/encryption/encryption_key" $files)) }}
{{- end }}
{{- if .Values.config.admin }}
{{- $_ := set $own "admin" (dict "socket" "/run/zerotrust/admin.sock") }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not .Values.config.redis) }}
{{- fail "replicas: more than one broker needs config.redis, by which they share replay guard and revocations" }}
{{- end }}
{{- mustMergeOverwrite (deepCopy .Values.config) $own | toPrettyJson }}
{{- end }}
