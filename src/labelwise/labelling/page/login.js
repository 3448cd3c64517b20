// The password, where the page is open to other machines. It imports nothing: other modules are not served before.

const said = document.getElementById("said");
const password = document.getElementById("password");
const enter = document.getElementById("enter");

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  enter.disabled = true;
  said.textContent = "";
  try {
    const response = await fetch("/api/login", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ password: password.value }),
    });
    if (response.ok) location.replace("/");
    else said.textContent = response.status === 401 ? "That is not the password." : `The server answered with status ${response.status}.`;
  } catch {
    said.textContent = "The labelwise server does not answer.";
  }
  enter.disabled = false;
  password.select();
});
