addEventListener("load", () => {
  // Wide code and tables scroll, so the keyboard must reach them.
  for (const element of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset__table")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
  }
  // The theme gives its search dialog no name, and makes the copy button of each block of code a landmark.
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const buttons of document.querySelectorAll(".md-code__nav")) buttons.setAttribute("role", "none");
});
