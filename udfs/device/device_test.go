package main

import "testing"

func TestUserAgents(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                         "chrome 126 windows desktop",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.68":       "edge 126 windows desktop",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1": "safari 17 ios phone",
		"Mozilla/5.0 (Linux; Android 14; SM-X910) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36":      "samsung 25 android tablet",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36":                   "chrome 126 android phone",
		"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                  "firefox 127 linux desktop",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                "other 0 other bot",
		"curl/8.5.0": "curl 8 other bot",
		"":           "other 0 other other",
	} {
		got, err := parse(Request{&agent}, nil)
		text := got.Browser + " " + itoa(got.BrowserVersion.Value) + " " + got.OS + " " + got.Device
		if err != nil || text != want {
			t.Errorf("%s\n got %s, want %s", agent, text, want)
		}
	}
}

func itoa(number int64) string {
	if number < 10 {
		return string(rune('0' + number))
	}
	return itoa(number/10) + string(rune('0'+number%10))
}

func TestFingerprints(t *testing.T) {
	text := func(text string) *string { return &text }
	one, _ := fingerprint(Traits{UserAgent: text("Firefox"), Language: text(" de-DE ")}, nil)
	same, _ := fingerprint(Traits{UserAgent: text("firefox"), Language: text("de-de")}, nil)
	if one != same || len(one.Fingerprint) != 16 || one.Traits != 2 {
		t.Error(one, same)
	}
	moved, _ := fingerprint(Traits{UserAgent: text("firefox"), Screen: text("de-de")}, nil)
	if moved.Fingerprint == one.Fingerprint {
		t.Error("a trait counts the same in another's place")
	}
	if _, err := fingerprint(Traits{}, nil); err == nil {
		t.Error("a fingerprint of nothing")
	}
}
