// Before anything is painted: the theme that this browser was last set to, else that of its system.
"use strict";
document.documentElement.dataset.theme = localStorage.getItem("theme") || "";
