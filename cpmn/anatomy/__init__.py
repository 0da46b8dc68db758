"""What is where in a chest: lungs and their box, blood, vessels, arteries and veins."""
