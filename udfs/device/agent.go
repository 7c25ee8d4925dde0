package main

import (
	"strconv"
	"strings"

	"millrace"
)

// rule is a word of user agents and what it says. The first that is found counts: Edge calls itself Chrome, which calls itself
// Safari, which calls itself Mozilla.
type rule struct{ word, says string }

var (
	browsers = []rule{
		{"Edg/", "edge"}, {"EdgA/", "edge"}, {"EdgiOS/", "edge"}, {"OPR/", "opera"}, {"SamsungBrowser/", "samsung"},
		{"YaBrowser/", "yandex"}, {"FxiOS/", "firefox"}, {"Firefox/", "firefox"}, {"CriOS/", "chrome"}, {"Chrome/", "chrome"},
		{"Version/", "safari"}, {"MSIE ", "internet explorer"}, {"Trident/", "internet explorer"}, {"curl/", "curl"},
		{"okhttp/", "okhttp"}, {"python-requests/", "python"},
	}
	systems = []rule{
		{"Windows", "windows"}, {"iPhone", "ios"}, {"iPad", "ios"}, {"Android", "android"}, {"CrOS", "chromeos"},
		{"Mac OS X", "macos"}, {"Linux", "linux"},
	}
	bots    = []string{"bot", "crawl", "spider", "slurp", "headless", "curl/", "python-requests/", "okhttp/"}
	tablets = []string{"iPad", "Tablet", "Kindle", "Silk/"}
	phones  = []string{"iPhone", "Mobile", "Phone"}
)

func parse(row Request, _ *None) (Agent, error) {
	if row.UserAgent == nil {
		return Agent{Browser: "other", OS: "other", Device: "other"}, nil
	}
	agent := *row.UserAgent
	browser, version := "other", millrace.Null[int64]{}
	for _, rule := range browsers {
		if _, after, found := strings.Cut(agent, rule.word); found {
			browser, version = rule.says, major(after)
			break
		}
	}
	system := "other"
	for _, rule := range systems {
		if strings.Contains(agent, rule.word) {
			system = rule.says
			break
		}
	}
	return Agent{browser, version, system, device(agent, system)}, nil
}

// major is the number at the beginning of a version.
func major(version string) millrace.Null[int64] {
	digits := len(version) - len(strings.TrimLeft(version, "0123456789"))
	number, err := strconv.ParseInt(version[:digits], 10, 64)
	return millrace.Null[int64]{Value: number, Valid: err == nil}
}

func device(agent, system string) string {
	switch {
	case containsAny(strings.ToLower(agent), bots):
		return "bot"
	// An Android that does not call itself mobile is a tablet, as Google has it.
	case containsAny(agent, tablets), system == "android" && !strings.Contains(agent, "Mobile"):
		return "tablet"
	case containsAny(agent, phones):
		return "phone"
	case system == "other":
		return "other"
	}
	return "desktop"
}

func containsAny(text string, words []string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
