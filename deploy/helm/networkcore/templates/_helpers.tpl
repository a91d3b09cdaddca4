{{- define "networkcore.name" -}}
{{- printf "%s" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "networkcore.labels" -}}
app.kubernetes.io/name: networkcore
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "networkcore.selector" -}}
app.kubernetes.io/name: networkcore
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "networkcore.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "networkcore.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "networkcore.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* What every process runs under: no root, no privileges, nothing written but /tmp. */}}
{{- define "networkcore.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "networkcore.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Secrets are files, so that no environment shows them. */}}
{{- define "networkcore.env" -}}
{{- range $name := .Values.secret.keys }}
- name: NETWORKCORE_{{ $name | upper }}_FILE
  value: /run/secrets/networkcore/{{ $name }}
{{- end }}
{{- if .Values.otel.enabled }}
- name: NETWORKCORE_TRACING
  value: "true"
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .Values.otel.endpoint | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .Values.otel.ratio | quote }}
{{- end }}
{{- end }}
