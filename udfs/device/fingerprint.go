package main

import (
	"errors"
	"strconv"
	"strings"
)

// Traits are what tells one device from another. Each may be missing.
type Traits struct {
	UserAgent *string
	Language  *string
	Screen    *string
	Timezone  *string
}

// Fingerprint is 16 hexadecimal digits, and how many traits are in them.
type Fingerprint struct {
	Fingerprint string
	Traits      int64
}

// fingerprint is a hash of the traits, in lower case and without the blanks around them, so that it is the same for the same
// device and tells nothing of it. It says who may be the same, not who somebody is.
func fingerprint(row Traits, _ *None) (Fingerprint, error) {
	hash, traits := uint64(0xcbf29ce484222325), int64(0)
	for i, trait := range []*string{row.UserAgent, row.Language, row.Screen, row.Timezone} {
		if trait == nil {
			continue
		}
		traits++
		// Where a trait stands counts too: a missing one is not the next.
		hash = fnv(hash, strconv.Itoa(i)+"="+strings.ToLower(strings.TrimSpace(*trait))+"\n")
	}
	if traits == 0 {
		return Fingerprint{}, errors.New("no trait at all")
	}
	hash = (hash ^ hash>>33) * 0xff51afd7ed558ccd
	hash = (hash ^ hash>>33) * 0xc4ceb9fe1a85ec53
	hash ^= hash >> 33
	digits := strconv.FormatUint(hash, 16)
	return Fingerprint{strings.Repeat("0", 16-len(digits)) + digits, traits}, nil
}

// fnv is FNV-1a.
func fnv(hash uint64, text string) uint64 {
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * 0x100000001b3
	}
	return hash
}
