// Runs before the first paint, so that a dark page never flashes white. A module would run too late.
"use strict";
(() => {
  const KEY = "ecindex-theme";
  const ORDER = ["auto", "light", "dark"];
  const NAMES = { auto: "Auto", light: "Light", dark: "Dark" };
  const root = document.documentElement;

  function stored() {
    try {
      const theme = localStorage.getItem(KEY);
      return ORDER.includes(theme) ? theme : "auto";
    } catch {
      return "auto"; // storage may be forbidden; then use the colours of the system
    }
  }

  function apply(theme) {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = NAMES[theme];
      button.setAttribute("aria-label", `Colours: ${NAMES[theme]}. Change`);
    }
  }

  let theme = stored();
  apply(theme);
  document.addEventListener("DOMContentLoaded", () => {
    apply(theme);
    document.getElementById("theme").addEventListener("click", () => {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // then the choice lasts for this visit only
      }
      apply(theme);
    });
  });
})();
