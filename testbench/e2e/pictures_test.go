package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// A shot is one picture of the panel.
type shot struct {
	name          string
	path          string // "@PHONE@" is one that is in a call, or any
	width, height int64
	dark          bool
	wait          string // what must be there
}

// The phone's page comes last: by then there is a history to draw.
var shots = []shot{
	{"board", "/", 1440, 960, false, ".card[data-state=in-use]"},
	{"board-dark", "/", 1440, 960, true, ".card[data-state=in-use]"},
	{"people", "/people", 1440, 960, false, ".person"},
	{"small", "/", 390, 844, false, ".card"},
	{"wallboard", "/wall", 1920, 1080, true, ".tile"},
	{"phone", "/phones/@PHONE@", 1440, 1180, false, ".evidence"},
}

// trouble is what the board exists to show: a cable that is out, a phone that
// hangs, one without a lease, some on the survivable router, one with its pages off.
var trouble = []string{"unplug @3", "freeze @6", "no-address @11", "srst @15", "srst @17", "web-off @20"}

// Every page can be drawn, wide and small, light and dark, with a branch in
// trouble, and is not blank. With -update the pictures of 24 phones are written
// to docs/*.png; all of them go to the folder PILOTLIGHT_SHOTS, where it is set.
func TestPictures(t *testing.T) {
	if !peers.Need(t, "chromium") {
		return
	}
	for _, phones := range []int{24, 200, 1000} {
		t.Run(fmt.Sprint(phones, " phones"), func(t *testing.T) {
			d, _ := startDemo(t, phones)
			names := slices.Sorted(maps.Keys(d.Phones()))
			for _, line := range trouble {
				d.do(t, regexp.MustCompile(`@\d+`).ReplaceAllStringFunc(line, func(at string) string {
					i, _ := strconv.Atoi(at[1:])
					return names[i]
				}))
			}
			d.Until(time.Minute, "the board knows what is the matter", func() bool { return causes(d) >= 5 })
			d.Until(30*time.Second, "somebody talks", func() bool { return talking(d) != "" })
			for _, s := range shots {
				picture := take(t, d, s)
				if n := colours(t, picture); n < 24 {
					t.Errorf("%s: %d colours: the page is blank", s.name, n)
				}
				if *update && phones == 24 {
					keepPicture(t, filepath.Join(product.Root(t), "docs"), s.name, picture)
				}
				if dir := os.Getenv("PILOTLIGHT_SHOTS"); dir != "" {
					keepPicture(t, dir, fmt.Sprint(s.name, "-", phones), picture)
				}
			}
		})
	}
}

func keepPicture(t *testing.T, dir, name string, picture []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// causes is how many different troubles the agent names.
func causes(d *demo) int {
	seen := map[string]bool{}
	for _, p := range d.Phones() {
		if p.Cause != "" && p.Cause != "fine" && p.Cause != "unknown" {
			seen[p.Cause] = true
		}
	}
	return len(seen)
}

// talking is a phone that has been in a call for some seconds, with the
// quality it counts itself, or "".
func talking(d *demo) string {
	for name, p := range d.Phones() {
		if p.State == "in-use" && p.Freshness == "live" && len(p.Streams) > 0 && p.Streams[0].MOS > 0 && time.Since(p.Since) > 6*time.Second {
			return name
		}
	}
	return ""
}

func take(t *testing.T, d *demo, s shot) []byte {
	t.Helper()
	ctx := openBrowser(t, int(s.width), int(s.height))
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	path := s.path
	if path == "/phones/@PHONE@" {
		d.Until(time.Minute, "somebody talks", func() bool { return talking(d) != "" })
		path = "/phones/" + talking(d)
	}
	scheme := map[bool]string{true: "dark", false: "light"}[s.dark]
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	size := emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: 1}
	if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, size); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(d.URL+path)); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	d.Until(30*time.Second, s.name+" is drawn", func() bool { return count(t, ctx, s.wait) > 0 })
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return picture
}

// colours counts the different colours on a grid of the picture.
func colours(t *testing.T, picture []byte) int {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[4]uint32]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 3 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 3 {
			r, g, b, a := img.At(x, y).RGBA()
			seen[[4]uint32{r, g, b, a}] = true
		}
	}
	return len(seen)
}
