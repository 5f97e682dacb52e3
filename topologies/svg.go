// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/assize/assize/evidence"
)

// Measures of a drawing in pixels, and of its text in characters.
const (
	svgColumn = 210 // from participant to participant
	svgBox    = 160
	svgHead   = 60 // above the participants
	svgRow    = 46 // from message to message
	svgMargin = 40
	svgName   = 22
	svgText   = 56
)

// SVG draws the flow: participants as boxes in columns, messages as arrows from
// top to bottom in the order of their stages, and below each box what its
// participant gets to see. The same flow gives the same bytes. Every text is
// escaped, and cut where it does not fit; the whole is in its tooltip.
func (f *Flow) SVG(title string) []byte {
	d := &drawing{}
	for _, m := range f.Messages {
		for _, who := range []string{m.From, m.To} {
			if !slices.Contains(d.columns, who) {
				d.columns = append(d.columns, who)
			}
		}
	}
	top := svgHead + svgRow
	bottom := top + svgRow*(len(f.Messages)+1)
	width := 2*svgMargin + svgColumn*len(d.columns)
	height := bottom + svgRow*3
	fmt.Fprintf(&d.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	d.out.WriteString(`<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>` + "\n")
	fmt.Fprintf(&d.out, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	d.text(svgMargin, svgMargin-16, "start", "black", title, svgText*3)
	for i, who := range d.columns {
		d.participant(i, who, top, bottom)
	}
	for i, m := range f.Messages {
		d.message(m, top+svgRow*(i+1))
	}
	for _, x := range f.Exposures {
		d.exposure(x, bottom+svgRow/2)
	}
	d.out.WriteString("</svg>\n")
	return []byte(d.out.String())
}

type drawing struct {
	out     strings.Builder
	columns []string
}

func (d *drawing) x(column int) int { return svgMargin + svgColumn*column + svgColumn/2 }

func (d *drawing) column(who string) int { return slices.Index(d.columns, who) }

func (d *drawing) participant(column int, who string, top, bottom int) {
	x := d.x(column)
	fmt.Fprintf(&d.out, `<rect class="node" x="%d" y="%d" width="%d" height="30" rx="4" fill="#eef" stroke="#335"/>`+"\n", x-svgBox/2, top-svgRow, svgBox)
	fmt.Fprintf(&d.out, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#aaa" stroke-dasharray="3 3"/>`+"\n", x, top-svgRow+30, x, bottom)
	d.text(x, top-svgRow+20, "middle", "black", who, svgName)
}

func (d *drawing) message(m Message, y int) {
	from, to := d.x(d.column(m.From)), d.x(d.column(m.To))
	colour, dash := "#136", ""
	switch {
	case m.Refused != "":
		colour, dash = "#b00", ` stroke-dasharray="6 4"`
	case m.Kind == Statement || m.Kind == Answer || m.Kind == Verdict:
		colour = "#161"
	}
	fmt.Fprintf(&d.out, `<line class="message" x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s"%s marker-end="url(#head)"/>`+"\n", from, y, to, y, colour, dash)
	d.text((from+to)/2, y-6, "middle", colour, m.String(), svgText)
}

func (d *drawing) exposure(x Exposure, y int) {
	at := d.x(d.column(x.Who))
	for _, line := range x.Lines() {
		d.text(at, y, "middle", "#333", line, svgName+8)
		y += 16
	}
}

// text writes escaped text, cut to so many characters.
func (d *drawing) text(x, y int, anchor, colour, s string, most int) {
	fmt.Fprintf(&d.out, `<text x="%d" y="%d" text-anchor="%s" fill="%s">`, x, y, anchor, colour)
	d.escaped(cut(s, most))
	if short := cut(s, most); short != s {
		d.out.WriteString("<title>")
		d.escaped(s)
		d.out.WriteString("</title>")
	}
	d.out.WriteString("</text>\n")
}

// escaped writes character data; what XML cannot hold becomes U+FFFD.
func (d *drawing) escaped(s string) {
	_ = xml.EscapeText(&d.out, []byte(s)) // a strings.Builder takes everything
}

func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// String is the message in one line without its ends: kind and contents.
func (m Message) String() string {
	parts := []string{string(m.Kind)}
	if m.Whole {
		parts = append(parts, "composite")
	}
	for _, p := range []struct {
		name   string
		labels []evidence.Path
	}{{"", m.Clear}, {"sealed", m.Sealed}, {"digests", m.Digests}, {"results", m.Results}} {
		if len(p.labels) > 0 && (p.name != "" || !m.Whole) {
			parts = append(parts, strings.TrimSpace(p.name+" "+join(p.labels)))
		}
	}
	if m.Refused != "" {
		parts = append(parts, "REFUSED: "+m.Refused)
	}
	return strings.Join(parts, " · ")
}

// Lines say what a participant gets to see, one kind of it per line.
func (x Exposure) Lines() []string {
	var out []string
	if x.Whole {
		out = append(out, "reads the whole composite")
	} else if len(x.Clear) > 0 {
		out = append(out, "reads "+join(x.Clear))
	}
	for _, p := range []struct {
		name   string
		labels []evidence.Path
	}{{"carries sealed ", x.Sealed}, {"digests of ", x.Digests}, {"results on ", x.Results}} {
		if len(p.labels) > 0 {
			out = append(out, p.name+join(p.labels))
		}
	}
	return out
}

func join(labels []evidence.Path) string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = string(l)
	}
	return strings.Join(out, ", ")
}
