package assize_test

import data.assize

test_says_how_many_are_bound_by_application if {
	assize.annotations == {"bound-by-application": "2"} with input.bound as {
		"gpu/0": {"strength": "strong", "origin": "application", "via": ["report-data-digest"]},
		"gpu/1": {"strength": "strong", "origin": "application", "via": ["report-data-digest"]},
		"nic": {"strength": "strong", "origin": "hardware", "via": ["tsm-digest"]},
	}
}

test_is_silent_about_other_paths if {
	assize.annotations == {} with input.bound as {
		"nic": {"strength": "strong", "origin": "measured", "via": ["tsm-digest"]},
		"gpu/0": {"strength": "nonce", "origin": "", "via": ["common-nonce"]},
		"gpu/1": {"strength": "none", "origin": "", "via": []},
	}
}
