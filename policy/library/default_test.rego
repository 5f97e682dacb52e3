package assize_test

import data.assize

test_says_how_many_are_bound_by_application if {
	assize.annotations == {"bound-by-application": "2"} with input.ways as {"strong application": ["gpu/0", "gpu/1"], "strong hardware": ["nic"]}
	assize.annotations == {"bound-by-application": "3"} with input.ways as {"strong application": ["gpu/0", "gpu/1"], "strong": ["nic"]}
}

test_is_silent_about_other_paths if {
	assize.annotations == {} with input.ways as {"strong measured": ["nic"], "strong hardware": ["dpu"], "nonce": ["gpu/0"], "none": ["gpu/1"]}
	assize.annotations == {} with input.ways as {"nonce application": ["gpu/0"]}
}
