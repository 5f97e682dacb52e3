package assize_test

import data.assize

test_takes_a_warning if assize.acceptable == "warning"
