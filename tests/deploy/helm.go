// SPDX-License-Identifier: Apache-2.0

// Renders a chart as "helm template" does, as far as ours needs it: with the same template
// engine and the same library of functions (text/template, sprig), but without Helm, of which
// Debian has no package. helm.go CHART RELEASE NAMESPACE [VALUES-FILE]
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type values = map[string]interface{}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm.go:", err)
		os.Exit(1)
	}
}

func load(path string) values {
	text, err := os.ReadFile(path)
	fail(err)
	v := values{}
	fail(yaml.Unmarshal(text, &v))
	return v
}

// What is given wins; maps are merged. A key that the chart does not have is a mistake, but
// where it leaves a map empty for its user.
func merge(base, over values, path string) {
	isOpen := len(base) == 0
	for key, value := range over {
		was, known := base[key]
		if !known && !isOpen {
			fail(fmt.Errorf("values%s.%s: the chart has no such value", path, key))
		}
		a, isMap := was.(values)
		if b, ok := value.(values); ok && isMap {
			merge(a, b, path+"."+key)
			continue
		}
		base[key] = value
	}
}

func main() {
	chart, release, namespace := os.Args[1], os.Args[2], os.Args[3]
	about, vals := load(filepath.Join(chart, "Chart.yaml")), load(filepath.Join(chart, "values.yaml"))
	if len(os.Args) > 4 {
		merge(vals, load(os.Args[4]), "")
	}
	data := values{
		"Values":  vals,
		"Chart":   values{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": values{"Name": release, "Namespace": namespace, "Service": "Helm"},
	}
	set := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := set.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["toYaml"] = func(v interface{}) (string, error) {
		out, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(out), "\n"), err
	}
	functions["required"] = func(text string, v interface{}) (interface{}, error) {
		if v == nil || v == "" {
			return v, fmt.Errorf("%s", text)
		}
		return v, nil
	}
	set.Funcs(functions)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	fail(err)
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		fail(err)
		_, err = set.New(filepath.Base(file)).Parse(string(text))
		fail(err)
	}
	for _, file := range files {
		var out bytes.Buffer
		fail(set.ExecuteTemplate(&out, filepath.Base(file), data))
		if !strings.HasSuffix(file, ".yaml") || strings.TrimSpace(out.String()) == "" {
			continue
		}
		fmt.Printf("---\n# Source: %s\n%s\n", filepath.Base(file), strings.TrimSpace(out.String()))
	}
}
