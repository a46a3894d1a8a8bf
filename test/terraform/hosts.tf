# Private hosts in the forms that configurations for AWS use. Stage two changes each, and replaces one that has a named volume.
variable "stage" {
  type = string
}

locals {
  two = var.stage == "two"
}

data "aws_ami" "app" {
  most_recent = true
  owners      = ["self"]
  filter {
    name   = "name"
    values = ["seed:*"]
  }
  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }
}

resource "aws_vpc" "main" {
  cidr_block = "10.30.0.0/16"
}

resource "aws_subnet" "main" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.30.1.0/24"
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group" "one" {
  name   = "one"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group" "two" {
  name   = "two"
  vpc_id = aws_vpc.main.id
}

resource "aws_instance" "public" {
  ami                         = data.aws_ami.app.id
  instance_type               = local.two ? "t3.small" : "t3.micro"
  subnet_id                   = aws_subnet.main.id
  associate_public_ip_address = true
  vpc_security_group_ids      = local.two ? [aws_security_group.two.id] : [aws_security_group.one.id]
  user_data                   = "stage ${var.stage}"
  source_dest_check           = !local.two
  monitoring                  = local.two
  disable_api_termination     = !local.two
  secondary_private_ips       = ["10.30.1.77"]
  root_block_device {
    volume_size           = 20
    volume_type           = "gp3"
    delete_on_termination = !local.two
    tags                  = { stage = var.stage }
  }
  metadata_options {
    http_tokens                 = local.two ? "optional" : "required"
    http_put_response_hop_limit = 1
  }
  credit_specification {
    cpu_credits = local.two ? "unlimited" : "standard"
  }
  tags       = { Name = "public-${var.stage}" }
  depends_on = [aws_internet_gateway.main]
}

resource "aws_network_interface" "database" {
  subnet_id   = aws_subnet.main.id
  private_ips = ["10.30.1.10"]
}

# the private address is part of what replaces it; its interface and its volume stay
resource "aws_instance" "database" {
  ami                         = data.aws_ami.app.id
  instance_type               = "t3.micro"
  user_data                   = "database ${var.stage}"
  user_data_replace_on_change = true
  network_interface {
    network_interface_id = aws_network_interface.database.id
    device_index         = 0
  }
  tags = { Name = "database", "funade:volume" = "tf-hosts" }
}

resource "aws_instance" "plain" {
  ami           = data.aws_ami.app.id
  instance_type = "t3.micro"
  volume_tags   = { "funade:volume" = "tf-plain-${var.stage}" }
}

data "aws_instance" "database" {
  instance_id = aws_instance.database.id
}

output "volume" {
  value = one(data.aws_instance.database.root_block_device).volume_id
}

output "database" {
  value = "${aws_instance.database.id} ${aws_instance.database.private_ip}"
}
