// The first words go in the very moment in which the page has words of its own.
new MutationObserver((_changes, watch) => {
  if (document.querySelector("#root :is(h1, .stAlert, .stException)")) {
    document.getElementById("first-words").remove();
    watch.disconnect();
  }
}).observe(document.getElementById("root"), { childList: true, subtree: true });
