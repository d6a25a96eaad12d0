package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	Modules bool `help:"Also the versions of all modules linked in."`
}

func (c *versionCmd) Run(con *console) error {
	fmt.Fprintf(con.out, "pilotlight %s commit %s %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if !c.Modules {
		return nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("this binary carries no build information")
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		fmt.Fprintf(con.out, "%s %s\n", m.Path, m.Version)
	}
	return nil
}
