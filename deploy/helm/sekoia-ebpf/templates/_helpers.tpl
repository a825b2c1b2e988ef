{{- define "sekoia-ebpf.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sekoia-ebpf.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sekoia-ebpf.labels" -}}
{{ include "sekoia-ebpf.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sekoia-ebpf.secret" -}}
{{- if .Values.intake.existingSecret -}}
{{- .Values.intake.existingSecret -}}
{{- else -}}
{{- include "sekoia-ebpf.name" . -}}
{{- end -}}
{{- end -}}

{{- define "sekoia-ebpf.config" -}}
[intake]
region = {{ .Values.intake.region }}
key_file = /etc/sekoia-ebpf/key/{{ .Values.intake.secretKey }}

[kernel]
log = {{ ternary "yes" "no" .Values.kernelLog.enabled }}
{{- range $section, $lines := .Values.config }}

[{{ $section }}]
{{- range $key, $value := $lines }}
{{ $key }} = {{ $value }}
{{- end }}
{{- end }}
{{- end -}}
