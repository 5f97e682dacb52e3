package assize_test

import data.assize

test_relaxes_that_one_rule if assize.accept == {"unbound-component"}
