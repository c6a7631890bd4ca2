package main

import (
	"github.com/alecthomas/kong"

	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/setting"
)

type settingCmd struct {
	serveFlags `embed:""`
}

// Help shows what to type.
func (settingCmd) Help() string {
	return `
A flag beats the environment (UNDERSTUDY_RATE_LIMIT for --rate-limit), which beats the file that --config
names (rate-limit: 600/min), which beats the default. Secrets are not shown.

    understudy settings
    understudy settings --config lab.yaml --listen 127.0.0.1:0
    understudy settings -o json | jq '.items[] | select(.source != "default")'`
}

// settingRow is how a setting is printed. Value is nil when there is none, and
// for a secret.
type settingRow struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
	Secret bool    `json:"secret"`
	Set    bool    `json:"set"`
}

// Run prints the settings.
func (c *settingCmd) Run(a *app, ctx *kong.Context) error {
	effective := a.settings.List(ctx)
	if _, ok := a.settings.Env(staticSecret); ok {
		effective = append(effective, setting.Effective{
			Name: staticSecret, Source: "environment " + setting.Variable(staticSecret), Secret: true, Set: true,
		})
	}
	rows := make([]settingRow, len(effective))
	table := output.NewTable("SETTING", "VALUE", "SOURCE")
	for i, e := range effective {
		rows[i] = settingRow{Name: e.Name, Source: e.Source, Secret: e.Secret, Set: e.Set}
		value := e.Value
		switch {
		case e.Secret && e.Set:
			value = "[secret]"
		case e.Set:
			rows[i].Value = &value
		case value != "":
			value = "(" + value + ")"
		}
		table.Row(e.Name, value, e.Source)
	}
	for _, name := range a.settings.UnknownVariables(ctx.Model, setting.Variable(staticSecret)) {
		a.note("%s is no setting; it is ignored.", name)
	}
	if a.json {
		return output.JSON(a.stdout, map[string]any{"items": rows, "next_cursor": nil})
	}
	return table.Write(a.stdout)
}
